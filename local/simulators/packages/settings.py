"""What can be set while the simulator runs."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Durations:
    """Seconds in each state before they are divided by the speed. AWS documents none of them [unknown]; minutes have been reported.

    ``update_visible`` is the moment after UpdatePackage in which a read still shows the old version AVAILABLE [unknown]: the provider
    of Terraform waits 30 s before it looks, for that reason.
    """

    update_visible: float = 1.0
    copying: float = 10.0
    validating: float = 5.0
    associating: float = 45.0
    dissociating: float = 10.0


@dataclass(frozen=True, slots=True)
class Settings:
    """``page_limit`` caps a page whatever MaxResults says. The rest chooses where AWS is not documented:

    ``version_while_associating``  what PackageVersion shows while a newer version is put on a domain: ``old`` or ``new``
    ``history_order``              ``newest``, ``oldest`` or ``any`` first
    ``unknown_package``            DescribePackages for an id that is not there: ``not_found`` (ResourceNotFoundException),
                                   ``validation`` (ValidationException "Package not found", which Terraform also expects) or ``empty``
    """

    speed: float = 1.0
    durations: Durations = field(default_factory=Durations)
    page_limit: int = 100
    max_packages: int = 25
    max_packages_per_domain: int = 20
    version_while_associating: str = "old"
    history_order: str = "newest"
    unknown_package: str = "not_found"

    def changed(self, values: dict[str, Any]) -> Self:
        """These settings with some replaced; ``durations`` may be partial.

        :raises ValueError: a name or a value that there is not
        """
        durations = _checked(Durations, values.get("durations", {}))
        rest = _checked(Settings, {name: value for name, value in values.items() if name != "durations"})
        for name, allowed in _CHOICES.items():
            if rest.get(name, allowed[0]) not in allowed:
                raise ValueError(f"{name}: expected one of {', '.join(allowed)}, found {rest[name]!r}")
        if any(not value >= 0 for value in durations.values()) or not rest.get("speed", self.speed) > 0:
            raise ValueError(f"expected durations of at least 0 seconds and a speed above 0, found {values}")
        return replace(self, durations=replace(self.durations, **durations), **rest)


_CHOICES = {
    "version_while_associating": ("old", "new"),
    "history_order": ("newest", "oldest", "any"),
    "unknown_package": ("not_found", "validation", "empty"),
}


def _checked(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    known = {field.name for field in fields(kind)}
    if unknown := set(values) - known:
        raise ValueError(f"expected some of {', '.join(sorted(known))}, found {', '.join(sorted(unknown))}")
    return values
