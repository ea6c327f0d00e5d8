// What the process owes to others where it is process 1.

import CLinux

/// Where this process has to collect what others leave behind (process 1 of a container or a tiny system), goes on in a
/// child of it, while it collects, hands signals on, and ends like the child. To be called before anything else is
/// taken from the system.
public func leaveOrphansToAKeeper() { mote_keep_agent() }
