"""`make screenshots`: run the demo's company and take the pictures of the Airflow UI that the documents show.

Needs Debian's chromium and a Japanese font; playwright, which drives it, comes from docs/requirements.txt.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from local.cloud import ROOT, CloudError, State
from local.demo import replays
from local.demo.acts import Run, run
from local.demo.dataset import SYNONYMS, USER_DICTIONARY
from local.demo.entries import day_of
from local.demo.world import DOMAIN, PACKAGE_IDS, World, demo_cloud

if TYPE_CHECKING:
    from playwright.sync_api import Page

BROWSER = "/usr/bin/chromium"
BROWSER_OPTIONS = [
    "--no-sandbox",  # the sandbox refuses to run as root; every page comes from this machine
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DIRECTORY = ROOT / "build" / "screenshots"
IMAGES = ROOT / "docs" / "images"
DAG = f"dictionary_sync_{DOMAIN}"
# What the UI keeps of a user in the browser: light colours, open groups, the graph from top to bottom, long log lines wrapped.
PREFERENCES = {
    "theme": "light",
    "i18nextLng": "en",
    "timezone": '"Asia/Tokyo"',
    "log_wrap": "true",
    f"{DAG}/open-groups": f'["{USER_DICTIONARY}", "{SYNONYMS}"]',
    f"direction-{DAG}": '"DOWN"',
    "react-resizable-panels:graph-ltr": '{"details-panel,main-panel": {"expandToSizes": {}, "layout": [55, 45]}}',
    "react-resizable-panels:grid-ltr": '{"details-panel,main-panel": {"expandToSizes": {}, "layout": [28, 72]}}',
}


def main() -> int:
    if not Path(BROWSER).exists():
        print(f"error: {BROWSER} is missing: apt-get install chromium fonts-noto-cjk", file=sys.stderr)
        return 1
    try:
        with demo_cloud(DIRECTORY / "cloud") as cloud:
            world = World(cloud)
            world.furnish()
            green = run(world)
            green.require("success")
            world.publish_by_hand(PACKAGE_IDS[SYNONYMS], "人工, 人造\n".encode(), "quick fix")
            red = run(world)
            red.require("failed")
            replays.backfilled(world)
            replayed = replays.run_of(world, day_of(2))
            take(cloud.state, green, red, replayed)
    except CloudError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def take(state: State, green: Run, red: Run, replayed: str) -> None:
    """
    :param replayed: the run of a backfill's last day
    """
    from playwright.sync_api import sync_playwright

    IMAGES.mkdir(exist_ok=True)
    dag_url, replay_url = (f"{state.endpoints['airflow']}/dags/{dag}" for dag in (DAG, replays.DAG))
    with sync_playwright() as playwright:
        # Without a window, and with a profile of its own that ends with the browser.
        browser = playwright.chromium.launch(executable_path=BROWSER, args=BROWSER_OPTIONS)
        page = browser.new_page(locale="en")
        log_in(page, state)
        graph(page, f"{dag_url}/runs/{green.run_id}")
        failed_task(page, f"{dag_url}/runs/{red.run_id}/tasks/{SYNONYMS}.drift")
        trigger_form(page, dag_url)
        backfill_form(page, replay_url)
        reconciled(page, f"{replay_url}/runs/{quote(replayed)}/tasks/{replays.RECONCILE}/mapped/0")
        browser.close()


def log_in(page: Page, state: State) -> None:
    page.goto(state.endpoints["airflow"])
    page.locator("input[name=username]").fill(state.user)
    page.locator("input[name=password]").fill(state.password)
    page.locator("button[type=submit]").click()
    page.get_by_role("link", name="Dags").first.wait_for()
    for name, value in PREFERENCES.items():
        remember(page, name, value)


def remember(page: Page, name: str, value: str) -> None:
    page.evaluate("([name, value]) => localStorage.setItem(name, value)", [name, value])


def graph(page: Page, url: str) -> None:
    """The graph of a run with its groups open."""
    page.set_viewport_size({"width": 1240, "height": 1120})
    remember(page, "default_dag_view", '"graph"')
    page.goto(url)
    # A node shows its state once the run was read; the graph fits itself to its pane after that.
    page.locator(".react-flow__node", has_text="success").nth(9).wait_for()
    page.add_style_tag(content=".react-flow__minimap, .react-flow__panel { display: none }")
    settle(page, ".react-flow__viewport")
    page.screenshot(path=IMAGES / "graph.png", clip={"x": 0, "y": 0, "width": 696, "height": 1120})


def failed_task(page: Page, url: str) -> None:
    """The grid with the log of the task that is named after the reason."""
    page.set_viewport_size({"width": 1300, "height": 780})
    remember(page, "default_dag_view", '"grid"')
    page.goto(url)
    page.get_by_text("DataError").click()  # folds the stack trace
    settle(page, "main, #root")
    page.screenshot(path=IMAGES / "drift.png")


def trigger_form(page: Page, url: str) -> None:
    page.set_viewport_size({"width": 1000, "height": 1040})
    page.goto(url)
    page.get_by_role("button", name="Trigger").first.click()
    page.get_by_role("dialog").get_by_text("dry_run").wait_for()
    settle(page, "[role=dialog]")
    page.get_by_role("dialog").screenshot(path=IMAGES / "trigger_form.png")


def backfill_form(page: Page, url: str) -> None:
    """The upper half of the form, below which are the parameters; with the choice that replays days again."""
    page.set_viewport_size({"width": 1000, "height": 1040})
    page.goto(url)
    page.get_by_role("button", name="Trigger").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Backfill", exact=True).click()
    dialog.get_by_text("All Runs", exact=True).click()
    settle(page, "[role=dialog]")
    page.screenshot(path=IMAGES / "backfill_form.png", clip={"x": 52, "y": 64, "width": 896, "height": 656})


def reconciled(page: Page, url: str) -> None:
    """The runs of a backfill, and what the last one has to tell."""
    page.set_viewport_size({"width": 1300, "height": 780})
    remember(page, "default_dag_view", '"grid"')
    page.goto(url)
    page.get_by_text("0 short").first.wait_for()
    settle(page, "main, #root")
    page.screenshot(path=IMAGES / "replay_report.png")


def settle(page: Page, selector: str) -> None:
    """Wait until an element has been the same for half a second: nothing moves or loads any more."""
    look, same, before = f"document.querySelector({selector!r}).outerHTML", 0, ""
    while same < 5:
        page.wait_for_timeout(100)
        now = page.evaluate(look)
        same, before = (same + 1 if now == before else 0), now


if __name__ == "__main__":
    sys.exit(main())
