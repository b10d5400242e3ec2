"""Signing in with an account of the hub's own."""

from __future__ import annotations

import asyncio
import threading
import typing as t

import bcrypt
import pytest
import sqlalchemy as sa
from nativeauthenticator.orm import Base, UserInfo
from sqlalchemy.orm import Session
from swarmhub_hub.accounts import SwarmhubAuthenticator

PASSWORD = "a-long-one-for-ada"
LONG = "correct horse battery staple " * 3  # bcrypt looks at 72 bytes


@pytest.fixture
def authenticator() -> SwarmhubAuthenticator:
    engine = sa.create_engine("sqlite:///:memory:")
    Base.metadata.create_all(engine)
    db = Session(engine)
    for name, password, authorised in (("ada", PASSWORD, True), ("bob", PASSWORD, False), ("eve", LONG, True)):
        digest = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4))
        db.add(UserInfo(username=name, password=digest, is_authorized=authorised))
    db.commit()
    return SwarmhubAuthenticator(db=db, allowed_failed_logins=3)


def sign_in(authenticator: SwarmhubAuthenticator, name: str, password: str, **more: str) -> t.Any:
    return asyncio.run(authenticator.authenticate(None, {"username": name, "password": password, **more}))


def test_who_has_the_password_and_is_approved_signs_in(authenticator: SwarmhubAuthenticator) -> None:
    assert sign_in(authenticator, "ada", PASSWORD) == "ada"
    assert sign_in(authenticator, "eve", LONG) == "eve"
    assert sign_in(authenticator, "ada", "another-one") is None
    assert sign_in(authenticator, "bob", PASSWORD) is None
    assert sign_in(authenticator, "nobody", PASSWORD) is None


def test_who_guesses_is_kept_out_for_a_while(authenticator: SwarmhubAuthenticator) -> None:
    for _ in range(3):
        assert sign_in(authenticator, "ada", "a-guess") is None
    assert sign_in(authenticator, "ada", PASSWORD) is None


def test_who_guesses_many_times_at_once_is_kept_out_as_well(authenticator: SwarmhubAuthenticator) -> None:
    async def guess() -> list[t.Any]:
        guesses = [f"guess {number}" for number in range(9)] + [PASSWORD]
        signing_in = (authenticator.authenticate(None, {"username": "ada", "password": each}) for each in guesses)
        return await asyncio.gather(*signing_in)

    assert asyncio.run(guess()) == [None] * 10


def test_only_who_has_the_password_is_told_to_wait_for_approval(authenticator: SwarmhubAuthenticator) -> None:
    def waits(name: str, password: str) -> bool:
        return asyncio.run(authenticator.waits_for_approval(name, password))

    assert waits("bob", PASSWORD)
    assert not waits("bob", "a-guess")
    assert not waits("ada", PASSWORD)
    assert not waits("nobody", PASSWORD)
    for _ in range(4):
        sign_in(authenticator, "bob", PASSWORD)
    assert waits("bob", PASSWORD), "who has the password guesses nothing"
    for _ in range(3):
        sign_in(authenticator, "bob", "a-guess")
    assert not waits("bob", PASSWORD)


def test_a_second_factor_counts(authenticator: SwarmhubAuthenticator) -> None:
    authenticator.get_user("ada").has_2fa = True
    assert sign_in(authenticator, "ada", PASSWORD, **{"2fa": "000"}) is None


def test_the_hub_goes_on_while_passwords_are_compared(
    authenticator: SwarmhubAuthenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared_in: list[str] = []

    def note(*_: bytes) -> bool:
        compared_in.append(threading.current_thread().name)
        return True

    monkeypatch.setattr(bcrypt, "checkpw", note)
    assert sign_in(authenticator, "ada", "") == "ada"
    assert compared_in
    assert threading.main_thread().name not in compared_in
