"""What people ask for, as functions: the web and the tests call these, the store carries them out.

A command checks what only the connector or the template can know, then leaves one transaction to
the store. The daemon's loops are not involved: they find in the store what was asked for.
"""
