"""Stagepost: a local SMTP relay with a REST sidecar.

The way of a message, and the packages in its order::

    ingress (SMTP)      ┐
                        ├→ intake → queue → dispatch → delivery → outcome → events
    sidecar_api (REST)  ┘    (storage)

`ingress` speaks the protocol and nothing else. `intake` is where every door ends: it checks, names and commits, and only
then the door says 250 or 202. `dispatch` decides which delivery goes when, `delivery` makes one attempt, and the outcome
is settled in one transaction. `relay.model` holds the words, `relay.app` composes the parts.
"""

__version__ = "0.1.0"
