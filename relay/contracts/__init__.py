"""What the parts ask of each other across the walls of the house, as Protocols.

Most are asked of `storage`: one object there, the Store, holds them all, and `relay.app` hands it in. Every method may
raise StoreUnavailable; none leaves a transaction half done. Where a method takes a tenant, `None` means "any" and is for
an admin alone; a thing of another tenant is NotFound, like a missing one.
"""
