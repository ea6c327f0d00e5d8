// `[watchdog]`: the hardware's.

import Bytes

extension SettingsLoader {
  mutating func readWatchdog(_ settings: inout Settings) {
    guard plainSection(.watchdog) > 0 else { return }
    settings.watchdog.device =
      winner(.watchdogDevice) == nil
      ? settings.keep(StaticString("/dev/watchdog").bytes) : path(.watchdogDevice, of: &settings)
    settings.watchdog.seconds = Int(duration(.watchdogTimeout).milliseconds / 1000)
    settings.watchdog.stopsAtEnd = boolean(.watchdogStop)
  }
}
