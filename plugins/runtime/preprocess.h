// A decoded image to the network's input, as se_deploy/images.py does it: orientation, colours, resize, centre crop, scale, mean, std.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "manifest.h"
#include "resize.h"
#include "result.h"

namespace se::runtime {

//: Channels first, one image.
struct Picture {
    int channels = 0;
    int height = 0;
    int width = 0;
    std::vector<float> values;
};

//: `orientation` is EXIF's, 1 to 8; anything else is taken as 1, as Pillow takes it.
Result<Picture> preprocess(Image const& image, int orientation, Preprocess const& how) noexcept;

}  // namespace se::runtime
