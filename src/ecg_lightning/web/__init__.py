"""The viewer: a server of one page on this machine, for looking at recordings and correcting their beats.

``recordings`` holds what is viewed, ``signals`` its samples at every zoom, ``corrections`` what users change, ``guard``
who may ask, ``server`` what they may ask for; ``static/`` is the page.
"""
