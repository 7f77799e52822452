"""Which keys of KMS are trusted, and which one signs: a rotation in three steps, whose state stands in the edge's stack.

Start makes another key and trusts both; switch signs with the new one; finish trusts the old one no more, once no link
that it signed can be alive. Removing first would end every link at once.

Source: CloudFront Developer Guide, "Rotating key pairs"; docs/aws-protocol.md 1.8.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oncegate.links.instants import instant_text
from oncegate.unfit import Unfit


class RotationUnfit(Unfit):
    """A step of a rotation comes at the wrong time; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """Where a rotation is.

    Attributes:
        generations: of the keys that are trusted, the oldest first; each is made once and its number never returns.
        signing: the generation that signs.
        switched_s: when signing went over to it, seconds since 1970 UTC; 0: it signed from the start.
    """

    generations: Sequence[int] = (1,)
    signing: int = 1
    switched_s: int = 0

    def started(self) -> Rotation:
        """Trust another key.

        Raises:
            RotationUnfit: one is under way.
        """
        if len(self.generations) > 1:
            raise RotationUnfit("a rotation is under way", remedy="switch, then finish it")
        return Rotation((*self.generations, self.generations[-1] + 1), self.signing, self.switched_s)

    def switched(self, *, now_s: int) -> Rotation:
        """Sign with the newest key.

        Raises:
            RotationUnfit: none was started, or it signs already.
        """
        newest = self.generations[-1]
        if newest == self.signing:
            raise RotationUnfit("the newest key signs already", remedy="start a rotation first, or finish this one")
        return Rotation(self.generations, newest, now_s)

    def finished(self, *, now_s: int, max_lifetime_s: int) -> Rotation:
        """Trust the older keys no more.

        Args:
            now_s: seconds since 1970 UTC.
            max_lifetime_s: of links; those that the old key signed are over when it has passed since the switch.

        Raises:
            RotationUnfit: there is nothing to finish, or links of the old key may be alive.
        """
        if len(self.generations) == 1 or self.signing != self.generations[-1]:
            raise RotationUnfit("no rotation waits for its end", remedy="start and switch first")
        over_s = self.switched_s + max_lifetime_s
        if now_s < over_s:
            raise RotationUnfit(
                f"links that the old key signed may be alive until {instant_text(over_s)}", remedy="finish it then"
            )
        return Rotation((self.signing,), self.signing, self.switched_s)

    @property
    def words(self) -> str:
        """What is noted at the key group, so that a switch alone is a change too; empty before the first rotation."""
        if self == Rotation():
            return ""
        trusted = ",".join(str(each) for each in self.generations)
        return f"trusts {trusted}, signs {self.signing} since {self.switched_s}"


def key_name(generation: int) -> str:
    """Logical id of a signing key."""
    return "SigningKey" if generation == 1 else f"SigningKey{generation}"


def key_output(generation: int) -> str:
    """Name of the output that holds its ARN."""
    return "SigningKeyArn" if generation == 1 else f"SigningKeyArn{generation}"
