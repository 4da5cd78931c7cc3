package integration

// tales are four short texts to trace with where it does not matter which, a line
// of JSON each. No two begin alike, so that none finds a part of itself in the
// prompt cache, and there are too few for some to be held out.
const tales = `{"text": "The miller had three sons, and when he died he left them his mill, his donkey and his cat. The eldest took the mill, the second took the donkey, and the youngest had to be content with the cat. \"What am I to do with you?\" he said to it. \"When I have eaten you, and made a muff of your skin, I shall have nothing left.\""}
{"text": "In the spring the river rose until it covered the lower fields. The men carried the sheep across in boats, two at a time, and the dogs swam beside them. Nobody had seen so much water since the year of the great snow, and the old people said that it would bring a good harvest, for the mud was black and rich."}
{"text": "A lens bends light because glass slows it down. Where the glass is thick the delay is long, and where it is thin the delay is short, so that a flat wave comes out curved. A wave that is curved inwards runs together in one point, which is called the focus, and the distance from the lens to that point is its focal length."}
{"text": "She wrote the letter three times. The first was too long, the second too cold, and the third she burnt. In the end she took the train herself, and stood at his door in the rain with nothing to say but that she had come."}
`
