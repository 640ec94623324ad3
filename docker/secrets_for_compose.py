"""Print `.env.example` with a fresh secret for every variable: `python3 docker/secrets_for_compose.py > .env`.

Standard library only: nothing of the project has to be installed.
"""

from __future__ import annotations

import base64
import re
import secrets
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parent.parent / ".env.example"


def secret(name: str) -> str:
    if name.endswith("FERNET_KEY"):
        return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_urlsafe(18) if name.endswith("PASSWORD") else secrets.token_hex(64)


def main() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    print(re.sub(r"^(\w+)=$", lambda found: f"{found[1]}={secret(found[1])}", text, flags=re.MULTILINE), end="")


if __name__ == "__main__":
    main()
