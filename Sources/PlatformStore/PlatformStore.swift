// What the platform keeps, in one SQLite file.

import GRDB
import PlatformService

/// The database.
public final class PlatformStore: Sendable {
  /// Opens the database of a folder, or makes it.
  public init(folder: String) throws {}

  /// All that is kept.
  public func load() throws -> StoredState { StoredState() }

  /// Makes all changes, or none.
  public func commit(_ operations: [StoreOperation]) throws {}
}
