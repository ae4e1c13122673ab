"""What a party's machine tells its people: the notices, the channels over which they leave, and what was told when."""
