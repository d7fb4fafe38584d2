"""Certificates: a CA, and client and server certificates for the three roles."""
