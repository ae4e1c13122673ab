"""From a hospital's archive to a prepared data set."""
