// Durable storage that answers at once: for what is above it alone, without the time that it takes.

import Bytes
import HostInterface
import Storage
import TestSupport

/// What a host would answer about a simulated disk, without a loop around it.
public final class DirectStorage: HostStorage {
  /// The disk.
  public var disk: SimulatedDisk

  /// Storage on `disk`.
  public init(disk: SimulatedDisk) { self.disk = disk }

  /// As `HostStorage` says.
  public func readRecord(_ record: StorageRecord, into buffer: inout ByteBuffer) -> StorageAnswer {
    unlessOff(Storage.readRecord(record, into: &buffer, on: &disk))
  }

  /// As `HostStorage` says.
  public func replaceRecord(_ record: StorageRecord, _ content: Span<UInt8>) -> StorageAnswer {
    unlessOff(Storage.replaceRecord(record, content, on: &disk))
  }

  /// As `HostStorage` says.
  public func appendToSegment(
    _ segment: StorageSegment, at offset: Int, _ bytes: Span<UInt8>, isFlushed: Bool
  ) -> StorageAnswer {
    unlessOff(Storage.appendToSegment(segment, at: offset, bytes, isFlushed: isFlushed, on: &disk))
  }

  /// As `HostStorage` says.
  public func readSegment(_ segment: StorageSegment, at offset: Int, into buffer: inout ByteBuffer) -> StorageAnswer {
    unlessOff(Storage.readSegment(segment, at: offset, into: &buffer, on: &disk))
  }

  /// As `HostStorage` says.
  public func findSegments(
    of series: StorageSeries, from number: UInt64, _ found: inout StorageSegmentRange
  ) -> StorageAnswer {
    unlessOff(Storage.findSegments(of: series, from: number, &found, on: &disk))
  }

  /// As `HostStorage` says.
  public func deleteSegment(_ segment: StorageSegment) -> StorageAnswer {
    unlessOff(Storage.deleteSegment(segment, on: &disk))
  }

  /// As `HostStorage` says.
  public func setSegmentAside(_ segment: StorageSegment) -> StorageAnswer {
    unlessOff(Storage.setSegmentAside(segment, on: &disk))
  }

  /// Without power there is nobody to answer.
  private func unlessOff(_ answer: StorageAnswer) -> StorageAnswer { disk.isOff ? .pending : answer }
}
