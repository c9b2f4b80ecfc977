"""A mongod with users who may do this and not that."""

from collections.abc import Callable
from typing import Any

import pymongo

from llm_audit import embedded

USER = "recorder"
PASSWORD = "right"
DATABASE = "guarded"


class GuardedMongod(embedded.Mongod):
    """A mongod with a user that may write, until that is taken from it."""

    @property
    def url(self) -> str:
        """The connection string, with the right password of the user that records."""
        return self.url_with(PASSWORD)

    def url_with(self, password: str, user: str = USER) -> str:
        """Return the connection string with some password.

        After a refusal the driver waits for its next heartbeat, which is here soon.
        """
        options = "authSource=admin&heartbeatFrequencyMS=500"
        return f"mongodb://{user}:{password}@{self.address}/?{options}"

    def create_users(self) -> None:
        """Make an administrator and the recording user."""
        with pymongo.MongoClient[dict[str, Any]](super().url) as client:
            client.admin.command("createUser", "root", pwd=PASSWORD, roles=["root"])
        self.administer("createUser", USER, pwd=PASSWORD, roles=[self._role("readWrite")])

    def set_password(self, password: str) -> None:
        """Give the recording user another password."""
        self.administer("updateUser", USER, pwd=password)

    def let_write(self, *, may: bool) -> None:
        """Let the recording user write, or only read."""
        role = self._role("readWrite" if may else "read")
        self.administer("updateUser", USER, roles=[role])

    def administer(self, command: str, value: object, **options: object) -> None:
        """Run a command as the administrator."""
        self.as_root(lambda client: client.admin.command(command, value, **options))

    def as_root(self, what: Callable[[pymongo.MongoClient[dict[str, Any]]], Any]) -> Any:
        """Do something as the administrator, and return what it returns."""
        with pymongo.MongoClient[dict[str, Any]](self.url_with(PASSWORD, "root")) as client:
            return what(client)

    def _role(self, name: str) -> dict[str, str]:
        return {"role": name, "db": DATABASE}
