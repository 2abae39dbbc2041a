"""A diagnosis made readable: ``text`` for people, ``json`` for programs, ``summary`` says what machine it is about."""
