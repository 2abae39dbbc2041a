"""From an error text or a log to the failure mode: ``clean`` the text, ``match`` the rules' signs, ``decide`` on the host."""
