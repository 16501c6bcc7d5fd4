from itertools import combinations

from srmu.results.label_places import place_labels


def test_names_of_close_and_equal_points_cover_neither_each_other_nor_a_point() -> None:
    points = [(50.0, 50.0), (50.0, 50.0), (53.0, 51.0), (195.0, 6.5)]
    places = place_labels(points, [40.0, 60.0, 30.0, 28.0], width=200, height=120)
    for one, other in combinations(places, 2):
        apart = one.right <= other.left or other.right <= one.left or abs(one.middle - other.middle) >= 13
        assert apart, (one, other)
    for place in places:
        assert 0 <= place.left <= place.right <= 200
        assert 6.5 <= place.middle <= 113.5
        assert not any(place.left < x < place.right and abs(place.middle - y) < 6.5 for x, y in points)


def test_a_point_alone_has_its_name_on_its_right() -> None:
    (place,) = place_labels([(50.0, 50.0)], [40.0], width=200, height=120)
    assert (place.left, place.middle) == (58.0, 50.0)
