"""API keys and their credits."""

from dataclasses import dataclass, field

from sandbox.admission import Admission
from sandbox.error_codes import CallRefusedError


@dataclass
class Account:
    key: str
    balance: float
    total: float = field(init=False)
    admission: Admission = field(default_factory=Admission)

    def __post_init__(self) -> None:
        self.total = self.balance

    def set_balance(self, balance: float) -> None:
        self.total += max(0.0, balance - self.balance)
        self.balance = balance

    def require_credit(self) -> None:
        """Raise ERROR_NOT_ENOUGH_CREDITS unless one more call can be paid."""
        if self.balance < 1:
            raise CallRefusedError("ERROR_NOT_ENOUGH_CREDITS")

    def pool(self) -> dict[str, str | float]:
        """Give the balance as the credits route shows one pool of credits."""
        return {
            "unique_sign": "common",
            "name": "General credits",
            "balance": float(self.balance),
            "total": float(self.total),
            "last_recharge_balance": float(self.total),
            "balance_warning": 0.0,
            "first_buy_time": "2026-01-01 00:00:00",
            "last_update_time": "2026-01-01 00:00:00",
        }

    def pay(self) -> None:
        self.require_credit()
        self.balance -= 1


class Accounts:
    def __init__(self, balances: dict[str, float]) -> None:
        self._accounts: dict[str, Account] = {}
        self.set_balances(balances)

    def set_balances(self, balances: dict[str, float]) -> None:
        """Set the credits of each key, making the accounts that do not exist."""
        for key, balance in balances.items():
            self._accounts.setdefault(key, Account(key, balance)).set_balance(balance)

    def balances(self) -> dict[str, float]:
        return {account.key: account.balance for account in self._accounts.values()}

    def holder(self, key: str | None) -> Account:
        """Give the account of a key. A wrong or missing key raises ERROR_USER_NOT_EXISTS.

        One document says so; another says ERROR_APPLICATIONS_NOT_EXISTS. Both are 401.
        """
        account = self._accounts.get(key or "")
        if account is None:
            raise CallRefusedError("ERROR_USER_NOT_EXISTS")
        return account
