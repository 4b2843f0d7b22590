"""`eosin doctor`: what this machine has, and the command that mends what it lacks."""

from __future__ import annotations

import typer


def doctor() -> None:
    """Check what this machine has; exit 1 if the main job could not run."""
    from rich.markup import escape

    from eosin import __version__
    from eosin.cli.console import say
    from eosin.doctor import examine

    findings = examine()
    say(f"[bold]eosin {__version__}[/]")
    for finding in findings:
        mark = "[green]✓[/]" if finding.ok else "[red]✗[/]" if finding.vital else "[yellow]·[/]"
        say(f" {mark} {finding.name:<12} {escape(finding.value)}")
        if finding.fix:
            say(f"   [bold]→ {escape(finding.fix)}[/]")
    if any(finding.vital and not finding.ok for finding in findings):
        say("[red]the main job cannot run here; see the arrows above[/]")
        raise typer.Exit(1)
    say("[green]ready[/]")
