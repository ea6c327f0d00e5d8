// simulate HOURS [SEED]: the whole agent through days of everything that can happen, one seed a day, until so many
// simulated hours are over. Optimised, it takes seconds for what the same tests take minutes for.

import Foundation
import Simulator

/// The program.
@main struct Simulate {
  static func main() throws {
    let words = CommandLine.arguments.dropFirst()
    let numbers = words.compactMap { UInt64($0) }
    guard numbers.count == words.count, let hours = numbers.first, words.count <= 2 else {
      print("usage: simulate HOURS [SEED]")
      exit(EX_USAGE)
    }
    var tally = Tally()
    var seed = numbers.dropFirst().first ?? 1000
    while tally.hours < Double(hours) {
      let failure = try live(
        through: .dayOfEverything(seed: seed), seed: seed, &tally, replay: "swift run -c release simulate 1 \(seed)")
      if let failure {
        print(failure)
        exit(EXIT_FAILURE)
      }
      seed += 1
    }
    print("\(tally.runs) seeds, \(Int(tally.hours)) simulated hours, every promise kept: \(tally.summary)")
  }
}
