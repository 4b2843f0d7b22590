"""`eosin doctor`: what this machine has, and the command that mends what it lacks."""

from __future__ import annotations

import typer


def doctor() -> None:
    """Check what this machine has; exit 1 if no Run could be used here."""
    from rich.markup import escape

    from eosin import __version__
    from eosin.cli.console import say
    from eosin.doctor import examine

    sheet = examine()
    say(f"[bold]eosin {__version__}[/]")
    width = max(len(finding.name) for finding in sheet.findings)
    for finding in sheet.findings:
        mark = "[green]✓[/]" if finding.ok else "[red]✗[/]" if finding.vital else "[yellow]·[/]"
        say(f" {mark} {finding.name:<{width}} {escape(finding.value)}")
        if finding.fix:
            say(f"   [bold]→ {escape(finding.fix)}[/]")
    if not sheet.ready:
        say("[red]the main job cannot run here; see the arrows above[/]")
        raise typer.Exit(1)
    if sheet.trains:
        say("[green]ready[/]")
        return
    say("[green]ready for exported Runs[/]: predict, explain, evaluate, report")
    say("no training or exporting here, and no Run with PyTorch weights: see the arrows above")
