"""What every party's commands share: a workspace at work, the drop folder as trusted, updates taken in, replay, transfer."""
