"""Settings: small dataclasses with unit and default beside each field."""
