"""What runs in a probe's container: it judges by itself what it sees, and says so by its exit code alone.

So that no log is needed, an exit code of ``FIRST_CARD`` and above names a card by its place in the list that the
script was given. Any image with ``/bin/sh`` will do; what else it uses is the shell's own, but for ``env``.
"""

from __future__ import annotations

import enum


class Code(enum.IntEnum):
    """The exit codes that name no card; the engine's own begin at 125."""

    RIGHT = 0
    NOTHING = 20  # no card at all
    TOO_MANY = 21  # cards that this container must not see
    ANOTHER = 22  # one card, and not the one of the swarm's variable
    NOT_GIVEN = 23  # the swarm's variable does not hold one card of the list
    BROKEN = 24  # there is a device file, and nvidia-smi lists no card
    TOO_FEW = 25  # fewer device files than cards
    COUNTED = 26  # as many device files as cards; without nvidia-smi nobody knows whose


FIRST_CARD = 30

# $1 is the case: all, none or one; $2 the swarm's variable; then the UUIDs.
# A card in MIG mode stands above its instances and does not count beside them, since a container with one instance is
# shown the card as well.
SCRIPT = (
    " ".join(f"{code.name}={code.value}" for code in Code)
    + f" FIRST_CARD={FIRST_CARD}"
    + r"""
case=$1 variable=$2; shift 2
files=0
for file in /dev/nvidia[0-9]*; do
  if [ -e "$file" ]; then files=$((files + 1)); fi
done
seen='' card='' lists=no
if command -v nvidia-smi >/dev/null 2>&1; then
  lists=yes
  output=$(nvidia-smi -L 2>&1)
  while read -r line; do
    uuid=${line##*UUID: }; uuid=${uuid%%)*}
    case $line in
      GPU\ *UUID:\ *) seen="$seen $card"; card=$uuid ;;
      MIG\ *UUID:\ *) seen="$seen $uuid"; card='' ;;
    esac
  done <<END
$output
END
  seen="$seen $card"
  printf '%s\n' "$output"
fi
printf 'device files: %s\n' "$files"
count=0
for uuid in $seen; do count=$((count + 1)); own=$uuid; done

case $case in
none)
  if [ $((files + count)) -gt 0 ]; then exit "$TOO_MANY"; fi
  exit "$RIGHT" ;;
one)
  given=''
  while read -r line; do
    case $line in "$variable="*) given=${line#*=} ;; esac
  done <<END
$(env)
END
  printf '%s=%s\n' "$variable" "$given"
  place=$FIRST_CARD number=''
  for uuid; do
    if [ "$uuid" = "$given" ]; then number=$place; fi
    place=$((place + 1))
  done
  if [ -z "$number" ]; then exit "$NOT_GIVEN"; fi ;;
esac

if [ $((files + count)) -eq 0 ]; then exit "$NOTHING"; fi
if [ "$lists" = yes ] && [ "$count" -eq 0 ]; then exit "$BROKEN"; fi
if [ "$case" = one ]; then
  if [ "$files" -gt 1 ] || [ "$count" -gt 1 ]; then exit "$TOO_MANY"; fi
  if [ "$lists" = no ]; then exit "$COUNTED"; fi
  if [ "$own" != "$given" ]; then exit "$ANOTHER"; fi
  exit "$number"
fi
place=$FIRST_CARD cards=0
for uuid; do
  case $uuid in GPU-*) cards=$((cards + 1)) ;; esac
  case " $seen " in
    *" $uuid "*) ;;
    *) if [ "$lists" = yes ]; then exit "$place"; fi ;;
  esac
  place=$((place + 1))
done
if [ "$lists" = no ]; then
  if [ "$files" -lt "$cards" ]; then exit "$TOO_FEW"; fi
  exit "$COUNTED"
fi
exit "$RIGHT"
"""
)


def command(case: str, variable: str, cards: list[str]) -> list[str]:
    """Return the container's command.

    Args:
        case: ``all`` (every card is to be seen), ``none``, or ``one`` (that of ``variable``).
        variable: the swarm's variable for the kind, for ``one``.
        cards: UUIDs that are to be seen, or of which one is to be given.
    """
    return ["/bin/sh", "-c", SCRIPT, "swarmhub-probe", case, variable, *cards]
