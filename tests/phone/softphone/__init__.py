"""A software phone: the device side of the ADB protocol, for the real adb client and server.

`rig` is what tests use; everything else runs inside the phone:

    wire     packets, streams, flow control          models   which phones there are
    shell    the shell and exec services             rootfs   their file systems
    sync     push and pull                           world    clocks, load, heat as time goes by
    faults   the rule file                           daemon   puts it all behind a port
    jail     namespaces and chroot                   standin  runs a model as benchmark_model does

Everything but `standin` stands on the standard library. Linux only.
"""
