"""Where settings come into force, and what they ask for begins."""

from typing import Any

from llm_audit.settings import configure as put_in_force
from llm_audit.settings import get_settings
from llm_audit.settings.reading import hide_secrets


def configure(**settings: Any) -> None:
    """Put settings in force for this process; never touches the network.

    A later call changes what it names, and keeps what earlier calls named. From the first record
    until `llm_audit.shutdown()` settings are kept: naming the same values again is fine, also a
    function that was made anew from the same code. With `instrument`, which may come from the
    environment, calls are recorded by themselves from now on: see `instrument()`.

    Args:
        **settings: Any field of `Settings` by its name, e.g. `mongo_url`, `database`, `spool_dir`.
            What no call has named comes from the environment, else from the defaults.

    Raises:
        ConfigurationError: A name is unknown, a value is wrong, or it differs from the one under
            which calls are being recorded; in strict mode also for a wrong variable, and when
            `instrument` names a client that there is not.
    """
    settings = hide_secrets(settings)  # from whoever prints the locals of a traceback
    put_in_force(**settings)
    if get_settings().instrument:
        from llm_audit.capture.instrument import instrument_as_set  # records, which takes loading

        instrument_as_set()
