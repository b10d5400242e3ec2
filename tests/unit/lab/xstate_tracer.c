/*
 * Does with a process's registers what user-mode Linux does: reads as many bytes of them as it is told, changes a few,
 * and writes them back. Prints how many there are in all; the exit status is 0, or errno of the call that failed, or 200 and more when the
 * registers are not what they should be.
 */
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define XMM0 160      /* where the lower half of ymm0 lies (Intel SDM 1, 10.5.1) */
#define YMM0_HIGH 576 /* and the upper */

static char before[32], after[32], wanted[32], state[65536];

static int traced(int avx)
{
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	if (avx)
		__asm__ volatile("vmovdqu %1, %%ymm0\n\tint3\n\tvmovdqu %%ymm0, %0" : "=m"(after) : "m"(before) : "xmm0");
	else
		__asm__ volatile("movdqu %1, %%xmm0\n\tint3\n\tmovdqu %%xmm0, %0" : "=m"(after) : "m"(before) : "xmm0");
	return memcmp(after, wanted, avx ? 32 : 16) ? 200 : 0;
}

int main(int count, char **arguments)
{
	int status, avx = __builtin_cpu_supports("avx");
	struct iovec all = {state, sizeof(state)}, part = {state, count == 2 ? atoi(arguments[1]) : 0};
	pid_t child;

	memset(before, 0x5a, sizeof(before));
	memset(wanted, 0xa5, sizeof(wanted));
	child = fork();
	if (!child)
		_exit(traced(avx));
	waitpid(child, &status, 0);
	if (!WIFSTOPPED(status))
		return 201;
	if (ptrace(PTRACE_GETREGSET, child, NT_X86_XSTATE, &all) < 0)
		return errno;
	printf("%zu\n", all.iov_len);
	memset(state, 0, sizeof(state));
	if (ptrace(PTRACE_GETREGSET, child, NT_X86_XSTATE, &part) < 0)
		return errno;
	if (memcmp(state + XMM0, before, 16) || (avx && memcmp(state + YMM0_HIGH, before + 16, 16)))
		return 202;
	memcpy(state + XMM0, wanted, 16);
	if (avx)
		memcpy(state + YMM0_HIGH, wanted + 16, 16);
	if (ptrace(PTRACE_SETREGSET, child, NT_X86_XSTATE, &part) < 0) {
		status = errno;
		ptrace(PTRACE_KILL, child, 0, 0);
		return status;
	}
	ptrace(PTRACE_CONT, child, 0, 0);
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 203;
}
