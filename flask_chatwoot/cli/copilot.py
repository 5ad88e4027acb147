"""What an administrator of Chatwoot sets so that its composer asks the app."""

from __future__ import annotations

import secrets
import shlex

from flask_chatwoot.runtime import Runtime

from .output import show

_WHERE = (
    "Set in Chatwoot's Super Admin console, under Settings → Captain. Only an "
    "administrator of the installation may, and no token of an account:"
)

_WHAT = (
    "They are the installation's: the AI buttons of every account, with the messages "
    "of its conversations, and Captain's own calls go to this app. An account that has "
    "connected OpenAI with a key of its own sends that key, which the app refuses."
)

_ACCOUNTS = (
    "The app suggests replies in its own account only, and recognises those "
    "conversations by their messages. If Chatwoot has no other account, "
    "CHATWOOT_COPILOT_ONE_ACCOUNT=true spares the comparison."
)

_SUGGESTIONS_ONLY = (
    "The app answers Suggest a reply only: for the other buttons, decorate a function "
    "with @chatwoot.completion_provider."
)


def show_settings(runtime: Runtime, endpoint: str) -> None:
    """Print the settings, and a new key if the app has none. Asks Chatwoot nothing.

    :param endpoint: Where Chatwoot reaches the app, with its prefix.
    """
    known = runtime.config.copilot_token
    key = known[0] if known else secrets.token_urlsafe(32)
    show(_WHERE)
    show(f"CAPTAIN_OPEN_AI_ENDPOINT  {endpoint}")
    show(f"CAPTAIN_OPEN_AI_API_KEY   {key}")
    show(_WHAT)

    if not runtime.config.copilot_one_account:
        show(_ACCOUNTS)

    if runtime.find_completion() is None:
        show(_SUGGESTIONS_ONLY)

    if not known:
        show("Set in the environment of the app:")
        show(f"CHATWOOT_COPILOT_TOKEN={shlex.quote(key)}")
