// The TensorRT libraries in this process, found without linking any: one plugin library serves TensorRT 10, 11 and RTX.
//
// IPluginV3, its capabilities, the creators and the fields are laid out alike in all of them. Three interfaces are not: the slots in
// their virtual tables moved, so that a call compiled against one header lands elsewhere in the other library.
//
//                                            TensorRT 10, RTX below 1.5      TensorRT 11, RTX 1.5 and later
//   IPluginRegistry::registerCreator                  slot 12                          slot 8
//   ILogger::log, ILoggerFinder::findLogger           slot 0                           slot 4
#pragma once

namespace se {

enum class Severity : int { kInternalError = 0, kError = 1, kWarning = 2, kInfo = 3, kVerbose = 4 };

//: Registers all creators with every TensorRT in the process, unless one of them is opening this library and will do so itself.
void registerEverywhere() noexcept;

//: Remembers the finder that a library handed to setLoggerFinder.
void rememberFinder(void* finder) noexcept;

//: Says something through TensorRT's logger, or on stderr where there is none.
void say(Severity severity, const char* message) noexcept;

//: What a function gives, or `failed` with a message where it throws: no exception may reach TensorRT.
template <typename Result, typename Function>
Result guarded(Result failed, Function&& function) noexcept {
    try {
        return function();
    } catch (...) {
        say(Severity::kError, "se_deploy: out of memory");
        return failed;
    }
}

}  // namespace se
