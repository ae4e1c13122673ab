"""A drop folder on an SFTP server, over paramiko."""
