"""The paths of genro-mail-proxy 0.6, for clients that were written for it: its requests and answers, over the intake and the
store that `/v1` has. `docs/genro-mail-proxy.md` says what maps to what, and what is otherwise.

Laid out as the rest of the door: `routes` is its part of the route table, `schemas` its shapes, `resources` what the routes
do. `faults` is the shape in which it says what went wrong, `whose` for which tenant a call acts.
"""
