// Bounds that the agent and every host share.

/// What a host does at most.
public enum HostLimits {
  /// The longest raw text of one source, in bytes: all of /proc/meminfo fits.
  public static var sourceBytesMax: Int { 4096 }
  /// An event waits for slow sources at most this part of its interval.
  public static var patienceShare: Int64 { 4 }
  /// Programs that run at the same time.
  public static var programsMax: Int { PerProgram<UInt8>.count }
  /// Variables of its environment that a program gets besides its usual ones.
  public static var programVariablesMax: Int { 32 }
  /// What is kept of a program's output, in bytes: one more than is told, which shows whether there was more.
  public static var programOutputBytesMax: Int { 1025 }
  /// Links that are open at the same time.
  public static var linksMax: Int { PerLink<UInt8>.count }
  /// Clients of the control socket that wait for their turn.
  public static var controlClientsMax: Int { 8 }
}
