// Who is connected to the HTTP ports: no address takes all of it, and those who have shown who they are have room.

import NIOCore

/// The HTTP connections, on their event loop.
final class HTTPConnections {
  private struct Entry {
    let channel: any Channel
    let address: String
  }

  /// Those of whom nothing is known, by their numbers, which grow.
  private var strangers: [Int: Entry] = [:]
  /// The strangers' numbers by address, oldest first.
  private var byAddress: [String: [Int]] = [:]
  private var numbers: [ObjectIdentifier: Int] = [:]
  private var next = 0
  private var oldest = 0
  private(set) var count = 0

  /// Takes a new connection. Where there are too many strangers, or too many of its address, the oldest of those has
  /// to go.
  func add(_ channel: any Channel) {
    let address = channel.remoteAddress?.ipAddress ?? ""
    let number = next
    next += 1
    count += 1
    strangers[number] = Entry(channel: channel, address: address)
    byAddress[address, default: []].append(number)
    numbers[ObjectIdentifier(channel)] = number
    if let ofAddress = byAddress[address], ofAddress.count > ServerLimits.httpConnectionsOfAddressMax {
      close(ofAddress[0])
    }
    guard strangers.count > ServerLimits.httpStrangersMax else { return }
    while strangers[oldest] == nil { oldest += 1 }
    close(oldest)
  }

  private func close(_ number: Int) {
    guard let entry = strangers[number] else { return }
    forget(number)
    entry.channel.close(promise: nil)
  }

  /// Whoever is there has shown who they are.
  func noteLogin(_ channel: any Channel) {
    if let number = numbers[ObjectIdentifier(channel)] { forget(number) }
  }

  /// A connection is gone, or speaks MQTT now.
  func remove(_ channel: any Channel) {
    guard let number = numbers.removeValue(forKey: ObjectIdentifier(channel)) else { return }
    count -= 1
    forget(number)
  }

  private func forget(_ number: Int) {
    guard let entry = strangers.removeValue(forKey: number) else { return }
    byAddress[entry.address]?.removeAll { $0 == number }
    if byAddress[entry.address]?.isEmpty == true { byAddress[entry.address] = nil }
  }
}
