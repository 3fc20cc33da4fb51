"""The noisy tags of the drawn data set `scenes`: the vocabulary, and what an uploader would write.

The recipe. 8 of 100 images have no tag. Every other uploader is talkative to a degree t, drawn from a gamma
distribution of shape 2 and mean 1. Each topic gives a Poisson number of words, its mean t times the topic's
rate. A word is drawn from the topic's list with a probability that falls as 1 / its place in it.

- Each visible concept, labelled or not (rate 0.4): its word and words that mean it or go with it,
  in several languages; 10 % of the weight are misspellings, 8 % compounds ("skylovers").
- One concept drawn at random, there or not (0.25).
- The kind of scene: what is done there (0.5), and invented places that no other kind has (0.4).
- Correlated with nothing: cameras and lenses (0.45), chatter (1.1), uploaders' own names (0.2).

At most 15 words remain, each once, in random order. The vocabulary is the 1,000 words that are
expected most often, as in NUS-WIDE; a rarer word that was drawn is left out.
"""

import bisect
import itertools

from msmm.scenes.painting.kinds import KIND_SHARES

SIZE = 1000  # words in the vocabulary
MOST_TAGS = 15  # of an image
UNTAGGED = 0.08  # of the images
TALK_SHAPE = 2.0
VISIBLE, MISTAKEN = 0.40, 0.25  # mean numbers of words, of a visible concept and of a random one
EVENTS, PLACES = 0.50, 0.40  # … per image
CAMERAS, CHATTER, USERS = 0.45, 1.10, 0.20
SLIPPED, COMPOUNDED = 0.10, 0.08  # of a concept's words

# In what share of 20,000 scenes each concept was visible: it only orders the vocabulary.
CONCEPT_SHARES = {
    "sky": 0.63, "clouds": 0.24, "sunset": 0.09, "night": 0.08, "moon": 0.017, "water": 0.22,
    "ocean": 0.14, "lake": 0.047, "beach": 0.07, "mountain": 0.12, "snow": 0.08, "grass": 0.27,
    "tree": 0.28, "flowers": 0.11, "road": 0.19, "buildings": 0.21, "house": 0.06, "bridge": 0.016,
    "boat": 0.06, "car": 0.10, "person": 0.26, "animal": 0.11, "birds": 0.08, "plane": 0.01,
}  # fmt: skip
CONCEPT_WORDS = {
    "sky": "sky blue cielo himmel bluesky ciel skies heaven air horizon lookup",
    "clouds": "clouds cloud cloudy nubes wolken nuages weather cumulus storm fluffy cloudscape",
    "sunset": "sunset sun sundown dusk evening tramonto puestadesol sonnenuntergang orange golden goldenhour",
    "night": "night lights dark noche nacht nuit longexposure nightshot midnight evening neon",
    "moon": "moon fullmoon luna moonlight mond lune crescent lunar astronomy",
    "water": "water agua reflection wasser eau wet acqua ripples blue reflections waterscape",
    "ocean": "ocean sea waves mar wave meer mer surf seascape coast pacific atlantic",
    "lake": "lake lago pond lac see lakeside reflections shore waterside laguna",
    "beach": "beach sand playa plage strand spiaggia shore seaside coast sandy footprints",
    "mountain": "mountain mountains hills montana berge alps peak montagne hill summit ridge volcano",
    "snow": "snow winter cold nieve schnee neige ice white frost snowy snowfall",
    "grass": "grass green field meadow gras pasture lawn verde hierba fields",
    "tree": "tree trees leaves forest arbol baum arbre wood woods autumn branches bosque",
    "flowers": "flower flowers macro flor blume fleur garden bloom petals blossom rose daisy pink",
    "road": "road street path highway strasse calle asphalt route lane carretera crossing",
    "buildings": "buildings building architecture city skyscraper urban skyline edificio tower windows",
    "house": "house home casa haus cottage roof maison farmhouse village barn cabin",
    "bridge": "bridge puente river pont brucke arch suspensionbridge viaduct ponte",
    "boat": "boat boats sailing ship sail barco boot yacht sailboat bateau marina fishingboat",
    "car": "car cars auto automobile vehicle driving coche traffic voiture wheels parking",
    "person": "people portrait girl man woman face person me smile boy friends selfportrait gente child",
    "animal": "animal dog cat animals pet horse cow puppy wildlife kitten gato perro cute fur",
    "birds": "birds bird gull flight flying seagull wings vogel oiseau pajaro feathers",
    "plane": "plane airplane aircraft aviation jet flugzeug avion airport boeing",
}  # fmt: skip
COMPOUNDS = ("s", "lovers", "photography", "scape", "oftheday", "club")
EVENT_WORDS = {
    "street": "urban city street shopping downtown traffic walk parade streetphotography festival protest",
    "coast": "vacation summer holiday travel surfing seaside island swimming coastline tide sunbathing",
    "countryside": "countryside rural landscape farm nature summer fields country harvest walk tractor",
    "portrait": "wedding party birthday family friends model fashion love beauty hair studio concert",
    "flower": "nature garden spring macro closeup botanical flora bokeh petals gardening pollen",
    "mountains": "landscape hiking nature nationalpark travel climbing trail trekking alpine wilderness",
    "animal": "pet cute zoo nature wildlife animals adorable furry farm closeup safari eyes",
    "park": "park picnic spring family garden walk jogging playground sunday green children",
    "lake": "landscape nature reflection fishing calm camping canoe reflections kayak holiday serene",
    "open sky": "sky airshow air weather flying airport migration horizon wind planespotting",
    "night city": "city night citylights longexposure nightlife urban neon party newyear fireworks tripod",
    "winter": "winter christmas snow cold skiing holidays snowman snowboard january ski sledding ice",
    "harbour": "harbor port harbour river docks ferry regatta sailing cruise fishing pier waterfront",
    "indoors": "home party family birthday dinner indoor christmas livingroom friends kitchen newyear",
    "desert": "desert sand roadtrip travel dunes dry hot heat nationalpark canyon offroad landscape",
}  # fmt: skip
# Invented names of places: each of the first words with each of the endings.
PLACE_PARTS = {
    "street": ("king queens mill new", "borough square market"),
    "coast": ("salt gull wrack silver", "mouth sands cove"),
    "countryside": ("oak barley thistle larks", "field combe worth"),
    "portrait": ("belle viva amber", "hall club studio"),
    "flower": ("rosen lily bloom", "hurst gardens arboretum"),
    "mountains": ("grau kestrel high iron", "horn pass crag"),
    "animal": ("hollow brook wild", "zoo ranch shelter"),
    "park": ("elm lower maple", "park commons grove"),
    "lake": ("pine loon still mirror", "mere tarn water"),
    "open sky": ("wind larkspur cirrus", "airfield downs heights"),
    "night city": ("nova lux metro neon", "polis district plaza"),
    "winter": ("nord frost white", "vik fjell holm"),
    "harbour": ("anchor herring old port", "haven quay docks"),
    "indoors": ("corner attic mamas", "cafe loft house"),
    "desert": ("mesa dry red", "valley flats springs"),
}
CAMERA_WORDS = (
    "nikon canon sony olympus pentax fuji leica kodak panasonic minolta lumix eos d80 d50 350d d40 400d "
    "50mm rebel d70 30d powershot 20d d200 40d 5d xti finepix coolpix d300 450d cybershot e500 k10d "
    "tamron sigma nikkor 1855mm 18200mm 70300mm f18 f28 85mm 105mm holga lomo polaroid hasselblad "
    "rangefinder iphone"
)
CHATTER_WORDS = (
    "photo bw photography art color light 2007 2008 blackandwhite 2006 red abigfave white black explore "
    "old nature usa europe interestingness flickr geotagged yellow interesting california photoshop hdr "
    "film 2005 diamondclassphotographer searchthebest london italy flickrdiamond japan superbmasterpiece "
    "canada uk france spain anawesomeshot germany abstract goldstaraward australia impressedbeauty summer "
    "newyork aplusphoto paris platinumphoto topf25 england india china colours texture shadow pattern "
    "silhouette contrast digital 2004 march april may june july august october november december february "
    "september sunday saturday friday mexico scotland ireland brazil norway holland sweden chile roma "
    "berlin toronto chicago seattle texas florida amateur favorite wow beautiful cool fun happy life "
    "world day morning time view dream peace perfect composition square frame vintage retro "
    "crossprocessed 35mm iso400 tripodless firstshot catchycolors bravo naturesfinest blueribbonwinner "
    "soe mywinners outdoors utata 365days project365 photofriday fivestars theunforgettable"
)
USER_PARTS = (
    "lumi pixel wander foto mister tiny snap quiet nomad urban disko hey",
    "frog otter jane tom fox moth lens bee kat rufus",
)


class _Topic:
    """Words with their probabilities; `draw` draws a number of them."""

    def __init__(self, *lists: tuple[list[str], float]):
        """lists: words and their joint share of the topic; within a list, shares fall as 1 / place (Zipf)."""
        self.shares = {}
        for words, share in lists:
            total = sum(1 / (place + 1) for place in range(len(words)))
            for place, word in enumerate(words):
                self.shares[word] = self.shares.get(word, 0.0) + share / (place + 1) / total
        self._words = list(self.shares)
        self._sums = list(itertools.accumulate(self.shares.values()))

    def draw(self, rng, mean: float) -> list[str]:
        """Draws words; their number is a Poisson one of this mean."""
        places = [bisect.bisect(self._sums, rng.random() * self._sums[-1]) for _ in range(rng.poisson(mean))]
        return [self._words[min(place, len(self._words) - 1)] for place in places]


def _slips(word: str) -> list[str]:
    """Returns three misspellings of a word: the second letter left out, a letter doubled, two exchanged."""
    k = len(word) // 2
    exchanged = word[: k - 1] + word[k] + word[k - 1] + word[k + 1 :]
    return [word[0] + word[2:], word[:k] + word[k] + word[k:], exchanged]


def _concept(text: str) -> _Topic:
    words = text.split()
    stem = words[0] if words[0].endswith("ss") else words[0].removesuffix("s")
    slips = [slip for word in words[:2] for slip in _slips(word) if slip not in words]
    compounds = [stem + ending for ending in COMPOUNDS if stem + ending not in words]
    return _Topic((words, 1 - SLIPPED - COMPOUNDED), (slips, SLIPPED), (compounds, COMPOUNDED))


def _invented(parts: tuple[str, str]) -> list[str]:
    return ["".join(pair) for pair in itertools.product(*(part.split() for part in parts))]


_CONCEPT_TOPICS = {concept: _concept(text) for concept, text in CONCEPT_WORDS.items()}
_EVENT_TOPICS = {kind: _Topic((text.split(), 1.0)) for kind, text in EVENT_WORDS.items()}
_PLACE_TOPICS = {kind: _Topic((_invented(parts), 1.0)) for kind, parts in PLACE_PARTS.items()}
_ANYWHERE = (
    (_Topic((CAMERA_WORDS.split(), 1.0)), CAMERAS),
    (_Topic((CHATTER_WORDS.split(), 1.0)), CHATTER),
    (_Topic((_invented(USER_PARTS), 1.0)), USERS),
)


def _vocabulary() -> tuple[str, ...]:
    """Returns the SIZE words that are expected most often, the most frequent first."""
    mistaken = MISTAKEN / len(CONCEPT_WORDS)
    rates = [(topic, CONCEPT_SHARES[name] * VISIBLE + mistaken) for name, topic in _CONCEPT_TOPICS.items()]
    rates += [(topic, KIND_SHARES[kind] * EVENTS) for kind, topic in _EVENT_TOPICS.items()]
    rates += [(topic, KIND_SHARES[kind] * PLACES) for kind, topic in _PLACE_TOPICS.items()]
    expected = {}
    for topic, rate in [*rates, *_ANYWHERE]:
        for word, share in topic.shares.items():
            expected[word] = expected.get(word, 0.0) + rate * share
    return tuple(sorted(expected, key=lambda word: (-expected[word], word))[:SIZE])


TAGS = _vocabulary()
_KNOWN = frozenset(TAGS)
_CONCEPTS = tuple(_CONCEPT_TOPICS)


def sample(rng, kind: str, visible: list[str]) -> tuple[str, ...]:
    """Draws the tags of an image of a kind of scene in which the concepts `visible` can be seen."""
    if rng.random() < UNTAGGED:
        return ()
    tags = []
    while not tags:
        talk = rng.gamma(TALK_SHAPE) / TALK_SHAPE
        words = [word for concept in visible for word in _CONCEPT_TOPICS[concept].draw(rng, talk * VISIBLE)]
        mistaken = _CONCEPTS[int(rng.integers(len(_CONCEPTS)))]
        words += _CONCEPT_TOPICS[mistaken].draw(rng, talk * MISTAKEN)
        words += _EVENT_TOPICS[kind].draw(rng, talk * EVENTS)
        words += _PLACE_TOPICS[kind].draw(rng, talk * PLACES)
        for topic, rate in _ANYWHERE:
            words += topic.draw(rng, talk * rate)
        tags = [word for word in dict.fromkeys(words) if word in _KNOWN]
    return tuple(tags[place] for place in rng.permutation(len(tags))[:MOST_TAGS])
