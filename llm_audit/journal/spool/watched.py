"""The folder of another process under this kernel: watched while it lives, taken once it died."""

import os
from pathlib import Path

from llm_audit.errors import let_through
from llm_audit.journal.spool import looking, owners
from llm_audit.journal.spool.folder import Held, ProcessFolder, open_lock, take_lock
from llm_audit.runtime import trusted


class WatchedFolder(ProcessFolder):
    """A folder that is somebody else's until `take`: whoever holds this never opens it anew."""

    is_taken = False

    @classmethod
    def found(cls, path: Path) -> "WatchedFolder | None":
        """Watch a folder; None if it is of no process under this kernel, or known here already."""
        with Held.lock:
            if path.name in Held.owners:
                return None
            try:
                with trusted.folder(path) as here:
                    descriptor = open_lock(here)
            except OSError as error:
                let_through(error)  # else it was removed a moment ago; doubts are said by adoption
                return None
            owner = owners.read_owner(descriptor)
            is_ours = owner.get("boot_id") == owners.boot_id()
            if not is_ours or looking.doubt_of_owner(path.name, owner):
                os.close(descriptor)
                return None
            Held.owners[path.name] = owner
        return cls(path, descriptor)

    def look(self) -> bool:
        """See that the lock that is watched is the one that is there, if somebody removed that.

        Returns:
            Whether there is one or, as its process lives, may be again.
        """
        if self._descriptor is None or self._is_linked(self._descriptor):
            return self._descriptor is not None
        try:
            with trusted.folder(self.path) as here:
                anew = open_lock(here)
        except OSError as error:
            let_through(error)
            return not self._is_free(self._descriptor)
        before, self._descriptor = self._descriptor, anew
        os.close(before)
        return True

    def take(self) -> bool:
        """Take the folder over, if its process is dead; return whether it is ours now."""
        if self._descriptor is None or self.is_taken:
            return self.is_taken
        try:
            take_lock(self._descriptor)
        except OSError as error:
            let_through(error)  # else it lives
            return False
        self.is_taken = self._is_linked(self._descriptor)
        if self.is_taken:
            self.note_adoption()
        return self.is_taken

    def touch(self) -> None:
        """Show other kernels that the owner lives, where that is for us to do."""
        if self._descriptor is not None and os.fstat(self._descriptor).st_uid == os.geteuid():
            super().touch()

    def release(self) -> None:
        """Leave the folder to its process, or to the next that looks."""
        if self.is_taken:
            super().release()
            return
        self.forget()
        with Held.lock:
            Held.owners.pop(self.nonce, None)

    def _is_free(self, descriptor: int) -> bool:
        try:
            os.lockf(descriptor, os.F_TEST, 0)
        except OSError as error:
            let_through(error)
            return False
        return True
