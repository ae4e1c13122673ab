"""A drop folder on an SFTP server, over paramiko.

The modules, from the top:

    store            `SftpStore`: what every store does; work during which the connection is lost is done again once
    remote_files     listing and reading many files at once; uploading one under a temporary name
    connection       `Session`: a TCP connection with time-outs, SSH, SFTP; what counts as a lost connection
    requests         requests under way: one file read in order, many small tasks at once
    proxy_process    the program through which ~/.ssh/config reaches a server: ProxyCommand, ProxyJump
    login            the address completed by ~/.ssh/config, and the host keys that are trusted
    channel_buffer   the bytes that have arrived on the SSH channel

Two threads take part. paramiko's transport thread reads the socket, decrypts, and feeds the channel buffer; the caller's thread
sends requests and reads their answers from the buffer. There is one session per store, and a lock that one call holds at a time.

    fetch     store.fetch → Session.open → requests.read_in_order (4 MiB under way) → base.write_received, which hashes
    list      store.list → remote_files.walk → requests.run_tasks: 64 folders at a time
    read      store.read → read_ahead → remote_files.contents → requests.run_tasks: 64 files at a time
    publish   store.publish → remote_files.temporary, upload → rename, which fails if the name is taken

A peer that falls silent is noticed by `TimedSocket`, which ends the connection; a server that sends but does not answer, by the
channel's own time-out. Neither is waited for twice.

What this rests on in paramiko beyond its documented interface (5.1; the tests of the stores would show a change):

    SFTPClient._async_request, ._read_response, ._convert_status   `Requests` sends, receives, and reads statuses
    _async_response(kind, message, number)                         the method that paramiko calls with an answer
    SFTPAttributes._from_msg; paramiko.sftp.CMD_…, int64           requests and answers of the protocol, version 3
    BufferedPipe._cv, ._closed; Channel.in_buffer                  `ChannelBuffer` replaces a channel's buffer
    SFTPFile.handle, .MAX_REQUEST_SIZE                             a file's handle, and the bytes of one write
    Transport polls `recv` ten times a second                      `TimedSocket` counts silence without a thread

docs/decisions/0008 and 0011 say why paramiko's own prefetch, buffer and one-by-one requests are not used.
"""
