"""Sign-in with NativeAuthenticator, without its open door.

Upstream authorises whoever first signs up under an administrator's name. Here an account is authorised when its row
says so, and the accounts of the first administrator and of the probe are there before the hub listens.
"""

from __future__ import annotations

import asyncio
import typing as t
from concurrent.futures import ThreadPoolExecutor

import bcrypt
from nativeauthenticator import NativeAuthenticator
from nativeauthenticator.handlers import DiscardHandler, LoginHandler, ToggleAuthorizationHandler
from nativeauthenticator.orm import UserInfo
from tornado import web
from traitlets import Dict, Set

#: Of their own: a morning's sign-ins keep nothing else from being done.
_THREADS = ThreadPoolExecutor(2, thread_name_prefix="passwords")


class ByForm:
    """A handler that changes an account by the hub's own form alone: upstream does so for whoever has a link opened."""

    async def get(self, _name: str) -> None:
        """Refuse the link."""
        raise web.HTTPError(405)

    async def post(self, name: str) -> None:
        """Do what upstream's link does; JupyterHub has checked the form's token."""
        await super().get(name)  # type: ignore[misc]


class ToggleByForm(ByForm, ToggleAuthorizationHandler):
    """Let an account in, or no more."""


class DiscardByForm(ByForm, DiscardHandler):
    """Forget an account that was not let in."""


class SignInHandler(LoginHandler):
    """Upstream's page, which compares a password that was refused once more, in the hub's only thread."""

    async def post(self) -> None:
        """Sign in, or say why not."""
        data = {name: self.get_argument(name, strip=False) for name in self.request.arguments}
        if user := await self.login_user(data):
            self._jupyterhub_user = user
            self.redirect(self.get_next_url(user))
            return
        name, error = data["username"], "Invalid username or password."
        if await self.authenticator.waits_for_approval(name, data["password"]):
            error = f"User {name} has not been authorized by an administrator yet."
        self.finish(await self._render(login_error=error, username=name))


class SwarmhubAuthenticator(NativeAuthenticator):
    """See the module."""

    accounts = Dict(config=True, help="Name → password of the accounts that are there from the start.")
    kept_in_step = Set(config=True, help="Those of them whose password follows the secret at each start.")
    approved_suffixes = Set(config=True, help="Names with such a suffix wait for approval even where sign-up is open.")

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        for name, password in self.accounts.items():
            self._ensure_account(self.normalize_username(name), password)

    def get_handlers(self, app: t.Any) -> list[tuple[str, type]]:
        """Return upstream's pages, with these changes by form."""
        ours = {
            LoginHandler: SignInHandler,
            ToggleAuthorizationHandler: ToggleByForm,
            DiscardHandler: DiscardByForm,
        }
        return [(path, ours.get(handler, handler)) for path, handler in super().get_handlers(app)]

    def get_authed_users(self) -> set[str]:
        """Return the names whose row says that they are authorised; being an administrator's name is not enough."""
        return {info.username for info in UserInfo.all_users(self.db) if info.is_authorized}

    async def authenticate(self, handler: t.Any, data: dict[str, str]) -> str | None:  # noqa: ARG002
        """Compare the password in a thread: that takes a quarter of a second of a core, on purpose.

        Upstream compares in the hub's only thread: while a team signs in, the hub stood still, and lost its proxy.
        """
        name: str = self.normalize_username(data["username"])
        account = self.get_user(name)
        if account is None or self._is_shut(name):
            return None
        known = await _is_password(data["password"], account)
        if self._is_shut(name):  # by others who guessed meanwhile
            return None
        if not known or (account.has_2fa and not account.is_valid_token(data.get("2fa"))):
            self.add_login_attempt(name)
            return None
        if not account.is_authorized:  # no guess: it does not count
            return None
        self.successful_login(name)
        return name

    async def waits_for_approval(self, username: str, password: str) -> bool:
        """Tell whether this is somebody who signed up and was not let in yet; who guesses is told nothing."""
        name = self.normalize_username(username)
        account = self.get_user(name)
        if account is None or account.is_authorized or self._is_shut(name):
            return False
        return await _is_password(password, account)

    def _is_shut(self, name: str) -> bool:
        return bool(self.allowed_failed_logins and self.is_blocked(name))

    def create_user(self, username: str, password: str, **kwargs: t.Any) -> UserInfo | None:
        """Sign up; a name that would give a class of machines by its suffix is never authorised unasked."""
        created = super().create_user(username, password, **kwargs)
        if created and created.username.rpartition("-")[2] in self.approved_suffixes:
            created.is_authorized = False
            self.db.commit()
        return created

    def _ensure_account(self, name: str, password: str) -> None:
        account = self.get_user(name)
        if account is None:
            account = UserInfo(username=name, password=_hashed(password), is_authorized=True)
            self.db.add(account)
        elif not account.is_authorized or (name in self.kept_in_step and not account.is_valid_password(password)):
            # Not authorised: a stranger signed up under this name before it was ours.
            account.password = _hashed(password)
            account.is_authorized = True
        self.db.commit()


def _hashed(password: str) -> bytes:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt())


async def _is_password(password: str, account: UserInfo) -> bool:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_THREADS, bcrypt.checkpw, password.encode(), account.password)
