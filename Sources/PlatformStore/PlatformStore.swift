// What the platform keeps, in one SQLite file. Each group of changes is one transaction: all of it is on the disk, or
// nothing.

import GRDB
import PlatformService

/// A database that cannot be used.
public struct StoreError: Error, CustomStringConvertible, Sendable {
  /// What is wrong, for people.
  public let description: String
}

/// A group of changes that was not made.
public struct CommitError: Error, CustomStringConvertible, Sendable {
  /// What is wrong, for people.
  public let description: String
  /// Whether the same changes may be made another time: the disk is full or fails, or the database is locked. Without
  /// that, they never will be.
  public let isTemporary: Bool

  init(_ error: any Error) {
    description = "\(error)"
    guard let error = error as? DatabaseError else {
      isTemporary = false
      return
    }
    switch error.resultCode {
    case .SQLITE_FULL, .SQLITE_BUSY, .SQLITE_LOCKED, .SQLITE_IOERR, .SQLITE_CANTOPEN, .SQLITE_NOMEM, .SQLITE_INTERRUPT,
      .SQLITE_PROTOCOL:
      isTemporary = true
    default: isTemporary = false
    }
  }
}

/// The database.
public final class PlatformStore: Sendable {
  private let queue: DatabaseQueue

  /// The name of the database in its folder.
  public static let fileName = "platform.sqlite"
  /// How long a commit waits for another program that has the database locked, in seconds.
  private static let busySecondsMax = 5.0

  /// Opens the database of a folder, or makes it.
  ///
  /// - Throws: `StoreError` where that cannot be: the folder is not there, the file is damaged, another platform uses
  ///   it, or a newer version has written it.
  public init(folder: String) throws {
    do {
      queue = try DatabaseQueue(path: folder + "/" + PlatformStore.fileName, configuration: PlatformStore.configuration)
      try queue.read { database in
        guard try String.fetchOne(database, sql: "PRAGMA quick_check(1)") == "ok" else {
          throw StoreError(description: "the database in \(folder) is damaged")
        }
      }
      try PlatformStore.migrator.migrate(queue)
      guard try queue.read(PlatformStore.migrator.hasCompletedMigrations),
        try !queue.read(PlatformStore.migrator.hasBeenSuperseded)
      else { throw StoreError(description: "the database in \(folder) was written by a newer version") }
    } catch let error as DatabaseError {
      throw StoreError(description: "the database in \(folder) cannot be used: \(error.message ?? "\(error)")")
    }
  }

  private static var configuration: Configuration {
    var configuration = Configuration()
    configuration.busyMode = .timeout(busySecondsMax)
    configuration.prepareDatabase { database in
      // One program at a time: a second one would acknowledge what the first does not know.
      try database.execute(sql: "PRAGMA locking_mode = EXCLUSIVE")
      try database.execute(sql: "PRAGMA journal_mode = WAL")
      // A commit that was reported survives a power cut.
      try database.execute(sql: "PRAGMA synchronous = FULL")
    }
    return configuration
  }

  static var migrator: DatabaseMigrator {
    var migrator = DatabaseMigrator()
    migrator.registerMigration("1") { database in
      try database.execute(
        sql: """
          CREATE TABLE type (id TEXT PRIMARY KEY, record TEXT NOT NULL);
          CREATE TABLE device (
            typeID TEXT NOT NULL, deviceID TEXT NOT NULL, record TEXT NOT NULL, connection TEXT,
            PRIMARY KEY (typeID, deviceID));
          CREATE TABLE lastEvent (
            typeID TEXT NOT NULL, deviceID TEXT NOT NULL, eventID TEXT NOT NULL, format TEXT NOT NULL,
            payload BLOB NOT NULL, time INTEGER NOT NULL, PRIMARY KEY (typeID, deviceID, eventID));
          CREATE TABLE apiKey (key TEXT PRIMARY KEY, record TEXT NOT NULL);
          CREATE TABLE bundle (id TEXT PRIMARY KEY, record TEXT NOT NULL);
          CREATE TABLE session (number INTEGER PRIMARY KEY, record TEXT NOT NULL);
          CREATE TABLE message (
            session INTEGER NOT NULL, sequence INTEGER NOT NULL, topic BLOB NOT NULL, payload BLOB NOT NULL,
            qos INTEGER NOT NULL, isReleased INTEGER NOT NULL, PRIMARY KEY (session, sequence));
          CREATE TABLE identifier (
            session INTEGER NOT NULL, identifier INTEGER NOT NULL, PRIMARY KEY (session, identifier)) WITHOUT ROWID;
          CREATE TABLE request (id TEXT PRIMARY KEY, record TEXT NOT NULL);
          CREATE TABLE progress (
            request TEXT NOT NULL, typeID TEXT NOT NULL, deviceID TEXT NOT NULL, place INTEGER NOT NULL,
            record TEXT NOT NULL, PRIMARY KEY (request, typeID, deviceID));
          """)
    }
    migrator.registerMigration("2") { database in
      try database.execute(
        sql: """
          CREATE TABLE eventBatch (number INTEGER PRIMARY KEY AUTOINCREMENT, entries BLOB NOT NULL);
          CREATE TABLE eventBatchSize (live INTEGER NOT NULL);
          INSERT INTO eventBatchSize (live) VALUES (0);
          CREATE TABLE usage (day TEXT PRIMARY KEY, byteCount INTEGER NOT NULL);
          """)
      try EventJournal(database: database).append(try StateReader(database: database).oldLastEvents())
      try database.execute(sql: "DROP TABLE lastEvent")
    }
    return migrator
  }

  /// Makes all changes, or none. For one thread at a time.
  ///
  /// - Throws: `CommitError`, which tells whether there is a point in trying again.
  public func commit(_ operations: [StoreOperation]) throws(CommitError) {
    do {
      try queue.writeWithoutTransaction { database in
        try database.inTransaction(.immediate) {
          var writer = OperationWriter(database: database)
          for operation in operations { try writer.apply(operation) }
          try EventJournal(database: database).append(writer.events)
          return .commit
        }
      }
    } catch {
      throw CommitError(error)
    }
  }

  /// All that is kept.
  ///
  /// - Throws: `StoreError` where the database cannot be read, with the row that is no record of ours.
  public func load() throws(StoreError) -> StoredState {
    do {
      return try queue.read { try StateReader(database: $0).state() }
    } catch let error as StoreError {
      throw error
    } catch {
      throw StoreError(description: "the database cannot be read: \(error)")
    }
  }
}
