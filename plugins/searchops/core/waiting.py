"""How often a wait looks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cadence:
    """Poll soon, then evenly, then ever slower.

    Custom packages take seconds to validate and about a minute to associate, rarely many minutes. Even looks of 5.6 s are 2.8 s
    late on average and cost 9 calls in the first 45 s, to which a task adds the one that it makes before it waits. From there each
    interval is an eighth of the time waited, at most 30 s, so ten minutes cost fewer than 40 calls.
    ``scale`` shortens all of it for a service whose clock runs fast.
    """

    first_seconds: float = 1.5
    even_seconds: float = 5.6
    growth: float = 0.125
    cap_seconds: float = 30.0
    scale: float = 1.0

    def delay(self, age_seconds: float) -> float:
        """Seconds until the next look of a wait of this age, so that a wait that is resumed goes on where it was."""
        age = age_seconds / self.scale
        if age < self.first_seconds:
            return (self.first_seconds - age) * self.scale
        return min(self.cap_seconds, max(self.even_seconds, age * self.growth)) * self.scale
