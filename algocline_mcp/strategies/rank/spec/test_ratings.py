import math

from rank.ratings import inverse, ratings_of

FLAT = 1e5  # a prior that says nothing

# Citations between four journals of statistics (Stigler 1994), the example of R's package BradleyTerry2, which gives
# for abilities relative to Biometrika: Comm Statist -2.9491 (0.1025), JASA -0.4796 (0.0606), JRSS-B 0.2690
# (0.0708).
CITED = [(0, 1, 730, 33), (0, 2, 498, 320), (0, 3, 221, 284), (1, 2, 68, 813), (1, 3, 17, 276), (2, 3, 142, 325)]


def are_close(values, expected):
    return all(math.isclose(*pair, abs_tol=1e-5) for pair in zip(values, expected, strict=True))


def test_strengths_and_errors_are_those_of_bradley_terry_2():
    games = [game for one, other, won, lost in CITED for game in [(one, other, 1.0)] * won + [(one, other, 0.0)] * lost]

    ratings = ratings_of(4, games, prior_sd=FLAT)

    relative = [ratings.strengths[item] - ratings.strengths[0] for item in (1, 2, 3)]
    errors = [math.sqrt(ratings._variance({item: 1.0, 0: -1.0})) for item in (1, 2, 3)]
    assert [round(value, 4) for value in relative] == [-2.9491, -0.4796, 0.2690]
    assert [round(value, 4) for value in errors] == [0.1025, 0.0606, 0.0708]


def test_two_items_have_the_log_odds_of_their_wins():
    ratings = ratings_of(2, [(0, 1, 1.0)] * 3 + [(1, 0, 1.0)], prior_sd=FLAT)

    assert are_close(ratings.strengths, [math.log(3) / 2, -math.log(3) / 2])
    assert are_close([ratings.beats(0, 1)], [0.829306])  # the normal distribution at ln 3 / sqrt(1 / 3 + 1)


def test_the_prior_keeps_an_item_that_won_all_games_finite():
    ratings = ratings_of(3, [(0, 1, 1.0), (0, 2, 1.0), (1, 2, 1.0)])

    assert 0.5 < ratings.strengths[0] < 3
    assert are_close(ratings.strengths, [ratings.strengths[0], 0, -ratings.strengths[0]])


def test_without_a_game_nothing_is_known():
    ratings = ratings_of(3, [])

    assert ratings.strengths == [0, 0, 0]
    assert ratings.beats(0, 1) == 0.5
    half = 1.959964 * 2 * math.sqrt(2 / 3)  # of the normal prior, relative to the average of three
    assert are_close(ratings.interval(0), [-half, half])


def test_more_games_make_intervals_shorter():
    def width(games):
        low, high = ratings_of(2, [(0, 1, 1.0), (0, 1, 0.0)] * games).interval(0)
        return high - low

    assert width(1) > width(4) > width(16)


def test_a_tie_counts_half():
    assert are_close(ratings_of(2, [(0, 1, 0.5)]).strengths, [0, 0])


def test_inverse_is_exact_for_a_small_matrix():
    rows = inverse([[2.0, 1.0], [1.0, 2.0]])

    assert are_close([*rows[0], *rows[1]], [2 / 3, -1 / 3, -1 / 3, 2 / 3])
