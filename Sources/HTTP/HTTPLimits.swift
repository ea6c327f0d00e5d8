// Bounds of what is taken from an HTTP server.

/// Bounds of addresses and answers.
public enum HTTPLimits {
  /// The longest address, in bytes: signed ones have 600 to 2,000.
  public static var addressBytesMax: Int { 4096 }
  /// All fields of an answer together, in bytes, and those behind a body that comes in chunks.
  public static var headBytesMax: Int { 8192 }
  /// The line before a chunk, in bytes, and one of the fields behind the last.
  public static var chunkLineBytesMax: Int { 1024 }
  /// The longest entity tag that is kept, in bytes; a longer one is like none.
  public static var entityTagBytesMax: Int { 128 }
}
