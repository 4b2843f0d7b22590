"""`eosin doctor`: what this machine has, and the command that mends what it lacks."""

from __future__ import annotations

import typer

from eosin.cli.console import say


def doctor() -> None:
    """Check what this machine has; exit 1 if no Run could be used here."""
    from eosin.doctor import examine
    from eosin.version import __version__

    sheet = examine()
    say(f"eosin {__version__}", style="bold")
    width = max(len(finding.name) for finding in sheet.findings)
    for finding in sheet.findings:
        fault = ("✗", "red") if finding.vital else ("·", "yellow")
        mark = ("✓", "green") if finding.ok else fault
        say(" ", mark, f" {finding.name:<{width}} {finding.value}")
        if finding.fix:
            say("   ", (f"→ {finding.fix}", "bold"))
    if not sheet.ready:
        say("the main job cannot run here; see the arrows above", style="red")
        raise typer.Exit(1)
    if sheet.trains:
        say("ready", style="green")
        return
    say(("ready for exported Runs", "green"), ": predict, explain, evaluate, report")
    say("no training or exporting here, and no Run with PyTorch weights: see the arrows above")
