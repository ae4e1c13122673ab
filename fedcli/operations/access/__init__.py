"""The rights with which every party writes its own part of a drop folder, and reads all of it.

For an OpenSSH server: accounts, folders and a part of sshd_config. For a folder that is shared by NFS or SMB: accounts, a group
and folders. For S3: a policy for each party's user. An auditor reads everything and writes nothing. The tests run the stores, and
whole federations, with exactly these rights.
"""
