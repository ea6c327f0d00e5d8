// What Quickstart publishes: what this machine has, as a configuration text like one that a person would write.

import Bytes
import HostInterface
import LinuxHost

/// Bounds of the Quickstart profile.
enum QuickstartProfile {
  /// Sensors in the one event: a chart with more lines is not read by anyone.
  static var sensorsMax: Int { 12 }
}

/// Writes the profile into `buffer`. Needs some of `scratch` for looking around.
func writeQuickstartProfile(into buffer: inout ByteBuffer, scratch: inout Arena) throws(ArenaExhausted) {
  buffer.removeAll()
  buffer.append(
    """
    [device]
    org = quickstart
    type = mote
    [event status]
    interval = 2s
    qos = 0

    """)
  var listing = try SensorListing(from: &scratch)
  var count = 0
  listing.forEach { sensor, text in
    guard count < QuickstartProfile.sensorsMax, sensor.makesCurve else { return }
    count += 1
    buffer.append("[sensor ")
    buffer.append(text.extracting(sensor.name))
    buffer.append("]\nevent = status\nread = ")
    buffer.append(sensor.kind.name)
    if !sensor.argument.isEmpty {
      buffer.append(UInt8(ascii: ":"))
      buffer.append(text.extracting(sensor.argument))
    }
    buffer.append(UInt8(ascii: "\n"))
  }
}
