"""The words everyone uses: frozen dataclasses and enums. No I/O, no clock, no third-party package."""
