/*
 * Loaded into user-mode Linux 6.1 (LD_PRELOAD), which mends two things there.
 *
 * Its registers of a guest's process have room for 2696 bytes of XSAVE state (arch/x86/um/shared/sysdep/ptrace_64.h).
 * A processor with AMX has 11 kB, and a machine's kernel gives the beginning of it but takes the whole or nothing
 * (arch/x86/kernel/fpu/regset.c, xstateregs_set: EFAULT). So the whole is handed over, with the tiles at rest: a guest
 * cannot ask for them anyway.
 *
 * At a reboot it executes itself anew with all its files open, the network's tap among them, which is then busy.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <unistd.h>

#define XSTATE_BV 512 /* offset of the bits that say which parts are in use (Intel SDM 1, 13.4.2) */
#define AMX (UINT64_C(3) << 17)

static char whole[65536] __attribute__((aligned(64)));
static size_t whole_size;

__attribute__((constructor)) static void close_what_an_exec_left_open(void)
{
	close_range(3, ~0U, 0);
}

long ptrace(enum __ptrace_request request, ...)
{
	static long (*next)(int, ...);
	struct iovec *given, all = {whole, 0};
	uint64_t used;
	va_list arguments;
	void *address, *data;
	pid_t pid;

	va_start(arguments, request);
	pid = va_arg(arguments, pid_t);
	address = va_arg(arguments, void *);
	data = va_arg(arguments, void *);
	va_end(arguments);
	if (!next)
		next = (long (*)(int, ...))dlsym(RTLD_NEXT, "ptrace");
	if (request != PTRACE_SETREGSET || (unsigned long)address != NT_X86_XSTATE)
		return next(request, pid, address, data);

	if (!whole_size) {
		all.iov_len = sizeof(whole);
		if (next(PTRACE_GETREGSET, pid, address, &all) < 0)
			return -1;
		whole_size = all.iov_len;
	}
	given = data;
	if (given->iov_len >= whole_size)
		return next(request, pid, address, data);
	memset(whole, 0, whole_size);
	memcpy(whole, given->iov_base, given->iov_len);
	memcpy(&used, whole + XSTATE_BV, sizeof(used));
	used &= ~AMX;
	memcpy(whole + XSTATE_BV, &used, sizeof(used));
	all.iov_len = whole_size;
	return next(request, pid, address, &all);
}
