"""Commands that set how an account is margined and warned."""

from __future__ import annotations

from engine.messages import NONE, Command
from engine.reference.core import Commands


class Settings(Commands):
    """Settings of accounts and instruments beyond the plain ones."""

    def set_margin_call_levels(
        self, account: int, levels: list[int], hysteresis: int = NONE, ts: int = NONE
    ) -> None:
        """Set at which margin ratios an account is called; its pools are looked at at once."""

        def run() -> None:
            chosen = self.check_call_levels(levels, hysteresis)
            self.find_account(account)
            self.emit_call_levels(account, chosen)
            self.replace_call_levels(account, chosen)

        self.execute(Command.MARGIN_CALL_LEVELS, ts, run, account)
