"""From K updates to one model: the weighted mean and its robust and adaptive relatives, exact to the bit, in bounded memory."""
