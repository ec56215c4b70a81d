"""Accounts of this machine that a trial makes and removes; all others are left alone."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

MARK = "trial hub of mha-course"
"""What the machine's list of accounts says about ours; with the home, it tells them from others."""

SECONDS = 10.0  # that processes have to end
_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")


class Accounts:
    """The accounts of one trial: those with our mark, and a home in its folder.

    Each has a group of its own, no password, and a home that nobody else can enter.

    Args:
        homes: The folder of all homes; with a path that holds no link.
    """

    def __init__(self, homes: Path) -> None:
        self.homes = homes

    def all(self) -> list[pwd.struct_passwd]:
        """Return those that are there."""
        return [one for one in pwd.getpwall() if self._is_ours(one)]

    def refused(self, names: Iterable[str]) -> list[str]:
        """Say which names cannot be had, and why."""
        why = []
        for name in names:
            if not _NAME.fullmatch(name):
                why.append(f"{name!r} is no name for an account: small letters, digits, - and _")
            elif (found := _account(name)) and not self._is_ours(found):
                why.append(f"this machine has an account {name} already, which is not the trial's")
        return why

    def make(self, name: str) -> pwd.struct_passwd:
        """Return the account of this name; it is made if it is not there.

        Raises:
            ValueError: there is one which is not ours, or it cannot be made.
        """
        if why := self.refused([name]):
            raise ValueError(why[0])
        home = self.homes / name
        if _account(name) is None:
            _run(
                *("useradd", "--no-create-home", "--home-dir", str(home), "--comment", MARK),
                *("--user-group", "--shell", "/bin/bash", name),
            )
        account = pwd.getpwnam(name)
        if not home.is_dir():
            home.mkdir(mode=0o700)
            os.chown(home, account.pw_uid, account.pw_gid)
        return account

    def end_processes(self) -> None:
        """End whatever still runs under these accounts, such as what a learner has left running.

        When this returns, it has ended: a database can be started again, an account removed.
        """
        left, until = self.all(), time.monotonic() + SECONDS
        while (left := [one for one in left if _kill_all_of(one)]) and time.monotonic() < until:
            time.sleep(0.05)

    def remove(self) -> list[str]:
        """Remove the accounts, and return their names; their homes are left."""
        self.end_processes()
        names = [one.pw_name for one in self.all()]
        for name in names:
            _run("userdel", name)
        return names

    def _is_ours(self, account: pwd.struct_passwd) -> bool:
        home = self.homes / account.pw_name
        return account.pw_uid != 0 and account.pw_gecos == MARK and account.pw_dir == str(home)


class RunAs(TypedDict):
    """What `subprocess` takes to run a program under an account."""

    user: int
    group: int
    extra_groups: list[int]


def as_account(account: pwd.struct_passwd) -> RunAs:
    """Say how to run a program under an account, with the groups of this account only."""
    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": groups}


def _account(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _kill_all_of(account: pwd.struct_passwd) -> bool:
    """Kill all processes of an account; return whether there was one."""
    done = subprocess.run(
        # to -1: all processes of this user, and none that another user has
        ["kill", "-KILL", "--", "-1"],
        **as_account(account),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode == 0


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{command[0]} failed: {done.stderr.strip()}")
